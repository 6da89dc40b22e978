"""What the quantiser is trained for: content, agreement of modalities, behaviour, and nothing said twice.

Legend: B items of a batch, d width.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from training.data.catalogue import ItemBatch
from training.layers.contrast import info_nce
from training.layers.experts import squared_error
from training.layers.quantiser import Quantised, unit
from training.layers.residual import levels_loss
from training.systems.bbqrec.quantiser import BBQ, SHARED, Encoded, Levels, content, moving


def loss(module: BBQ, batch: ItemBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """L = L_recon + L_vq + a L_behaviour + b L_modalities + c L_club, and what q of CLUB follows."""
    config, partner = module.config, module.partners(batch.item)
    reseed(module, batch)
    mine, theirs = module.encode(batch), module.latents(module.of_items(partner))[0][SHARED]
    id_latent = unit(module.ids(batch.item))
    of_id = module.book(SHARED)(id_latent)
    words = tuple(map(moving, mine.latents, mine.found))
    pair = (batch.item, partner)
    behaviour = behaviour_loss(words[SHARED], theirs, moving(id_latent, of_id), pair, config.temperature)
    agree = agreement(words[0], words[1], mine.given[:, 0] & mine.given[:, 1], config.temperature)
    recon = squared_error(content(batch), module.decoded(words, mine.own))
    follow, club = told_twice(module, mine)
    vq = quantisation(module, mine, of_id)
    logged = {"recon": recon, "vq": vq, "behaviour": behaviour, "modalities": agree, "club": club}
    value = recon + vq + config.behaviour_weight * behaviour + config.modality_weight * agree
    return value + config.noise_weight * club + follow, {name: one.detach() for name, one in logged.items()}


def quantisation(module: BBQ, encoded: Encoded, of_id: Levels) -> Float[Tensor, ""]:
    """Codebook and commitment terms of all that is quantised, once for each codebook; counts which words were used."""
    sources = [*map(rows_of, encoded.found, encoded.given.unbind(dim=1)), of_id]
    terms = []
    for number, book in enumerate(module.distinct_books()):
        mine = [one for source, one in enumerate(sources) if module.book(min(source, SHARED)) is module.book(number)]
        joined = [joined_level(levels) for levels in zip(*mine, strict=True)]
        book.count(joined)
        terms.append(len(mine) * levels_loss(joined))
    return torch.stack(terms).sum()


def rows_of(levels: Levels, chosen: Bool[Tensor, " B"]) -> Levels:
    """Those of some items."""
    return [(residual[chosen], Quantised(*(part[chosen] for part in found))) for residual, found in levels]


def joined_level(levels: Iterable[tuple[Tensor, Quantised]]) -> tuple[Tensor, Quantised]:
    """One level of several sources, one after the other."""
    residuals, found = zip(*levels, strict=True)
    return torch.cat(residuals), Quantised(*map(torch.cat, zip(*found, strict=True)))


@torch.no_grad()
def reseed(module: BBQ, batch: ItemBatch) -> None:
    """Puts words that none took where the batch's latents are, where it is time."""
    every = module.config.reseed_every
    if any(level.is_due(every) for book in module.distinct_books() for level in book.books):
        for book, latents in zip(module.distinct_books(), module.latents_by_book(batch), strict=True):
            book.reseed(latents, every)


def behaviour_loss(
    mine: Float[Tensor, "B d"],
    theirs: Float[Tensor, "B d"],
    of_id: Float[Tensor, "B d"],
    pair: tuple[Int64[Tensor, " B"], Int64[Tensor, " B"]],
    temperature: float,
) -> Float[Tensor, ""]:
    """An item's words find those of its neighbour, and so do the words of its id; of those with a neighbour. A row of
    the same neighbour, and the item itself, is no negative."""
    item, partner = pair
    there = torch.nonzero(partner > 0)[:, 0]
    if not len(there):
        return mine.sum() * 0
    item, partner = item[there], partner[there]
    hidden = none_of(item, partner)
    anchors = (mine[there], of_id[there])
    found = [info_nce(anchor, theirs[there], temperature, hidden).mean() for anchor in anchors]
    return torch.stack(found).sum()


def none_of(item: Int64[Tensor, " B"], partner: Int64[Tensor, " B"]) -> Bool[Tensor, "B B"]:
    """Whether a row's partner is no negative of another's: it is that one's partner too, or the item itself."""
    return (partner[:, None] == partner) | (item[:, None] == partner)


def agreement(
    text: Float[Tensor, "B d"], graph: Float[Tensor, "B d"], both: Bool[Tensor, " B"], temperature: float
) -> Float[Tensor, ""]:
    """The words of an item's text find those of its graph, and the reverse; of items that have both."""
    there = torch.nonzero(both)[:, 0]
    if not len(there):
        return text.sum() * 0
    text, graph = text[there], graph[there]
    return (info_nce(text, graph, temperature) + info_nce(graph, text, temperature)).mean()


def told_twice(module: BBQ, encoded: Encoded) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """What q follows, and CLUB's bound of what a modality's own part tells of its aligned one; summed over the two."""
    pairs = [*zip(module.parts(), encoded.latents, encoded.own, strict=False)]
    follow = torch.stack([part.club.follow(latent, own) for part, latent, own in pairs]).sum()
    return follow, torch.stack([part.club.shared(latent, own) for part, latent, own in pairs]).sum()
