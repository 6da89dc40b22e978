"""What one step of REG4Rec's search is made of."""

import math

import torch

from kernels.consistency_pruning import crss_candidates, crss_log_probs, required_match
from kernels.consistency_pruning.state import Beams
from training.systems.reg4rec.catalogue import possible_tokens
from training.systems.reg4rec.decode import best_extensions, required, step_log_probs


def test_log_probabilities_are_those_of_the_kernels_definition() -> None:
    torch.manual_seed(0)
    logits, codes = torch.randn(2, 4, 3, 6), torch.randint(-1, 6, (2, 4, 3))
    codes[:, :, 0] = -1
    found = step_log_probs(logits, possible_tokens(codes, 6, None))
    torch.testing.assert_close(found, crss_log_probs(logits, codes).flatten(2))


def test_the_best_extensions_are_those_of_a_full_selection_with_ties() -> None:
    torch.manual_seed(0)
    paths = Beams(torch.randint(-2, 1, (4, 5)).float(), *[torch.zeros(4, 5, 3, dtype=torch.int32)] * 3)
    log_probs = torch.randint(-3, 1, (4, 5, 3, 20)).float()
    log_probs[log_probs == -3] = -torch.inf
    log_probs[1, 2] = torch.nan
    log_probs[2, :, :, 1:] = -torch.inf
    log_probs[3] = -torch.inf
    for window in (1, 7, 30, 400):
        expected = crss_candidates(paths, log_probs, window)
        scores, tokens = best_extensions(paths.scores, log_probs.flatten(2), window)
        live = expected[0] > -torch.inf
        for user in range(4):
            kept = scores[user] > -torch.inf
            assert tokens[user][kept].tolist() == expected[1][user][live[user]].tolist()
            assert torch.equal(scores[user][kept], expected[0][user][live[user]])


def test_the_needed_agreement_is_that_of_the_definition() -> None:
    shares = [number / 60 for number in range(61)]
    for step in range(1, 9):
        expected = [required_match(theta, step) for theta in shares]
        assert required(torch.tensor(shares), step).tolist() == expected
    odd = torch.tensor([math.nan, -1.0, 2.0])
    assert required(odd, 4).tolist() == [0, 0, 3]
