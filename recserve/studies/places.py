"""All studies by name: what `recserve study --help` lists, and where each is, without importing any."""

from recserve.place import Group, Place

_PLANTED = {
    "collapse": Place(
        "Train DEA, make one field's table rank one, and show how the filter closes on that field (10 s).",
        "recserve.studies.planted.command:Collapse",
    ),
    "pairs": Place(
        "Train DEA with and without codebooks on labels that only pairs of ids explain (20 s).",
        "recserve.studies.planted.command:Pairs",
    ),
}

_DMAE = {
    "planted": Place(
        "Train DMAE, its controls, early fusion and DIN on clicks that content drives, and measure them on new items.",
        "recserve.studies.dmae.command:Planted",
    ),
    "cold": Place(
        "Measure finished runs of systems that read histories on cold items, and without any target's id.",
        "recserve.studies.dmae.command:Cold",
    ),
    "cost": Place(
        "Time the graphs of DIN, early fusion and DMAE's forms, one request of 50 events, by the number of candidates.",
        "recserve.studies.dmae.command:Cost",
    ),
}

STUDIES = {
    "dmae": Group("Show what similarity to past items is worth on new ones, and what it costs.", _DMAE),
    "ann": Place(
        "Time exact lists and those of an index in turn, by the number of items; recall, bytes and the build.",
        "recserve.studies.ann.command:Ann",
    ),
    "chime": Place(
        "Time CHIME's scorer, LREA's and DIN against the length of the history, and what CHIME's states cost.",
        "recserve.studies.chime.command:Chime",
    ),
    "chime-profile": Place(
        "Profile CHIME's graphs in ONNX Runtime: which share of their time assignment to words and histogram take.",
        "recserve.studies.chime.profile:ChimeProfile",
    ),
    "csmf": Place(
        "Draw who owns weights, and recall by objective and stage beside fine-tuning without masks.",
        "recserve.studies.objectives.command:Csmf",
    ),
    "freshness": Place(
        "Push events into a running server: a ranking before and after, the wait for an answer that knows, the states.",
        "recserve.studies.freshness.command:Freshness",
    ),
    "history-lengths": Place(
        "Measure finished runs by the length of the history before each test sample; trains nothing.",
        "recserve.studies.history_lengths:HistoryLengths",
    ),
    "lrea-length": Place(
        "Time DIN, softmax attention and LREA's forms against the length of the history, 1,000 candidates each.",
        "recserve.studies.lrea_length.command:LreaLength",
    ),
    "one-call": Place(
        "Time retrieve_then_rank beside two calls, retriever then ranker, against one server, and its CPU time.",
        "recserve.studies.one_call.command:OneCall",
    ),
    "planted": Group("Train DEA on data with planted structure, and draw what its parts do.", _PLANTED),
    "matt-cost": Place(
        "Time each base's graph and MATT around it, in this process and through the server, p50 of one request.",
        "recserve.studies.matt_cost.command:MattCost",
    ),
    "label-share": Place(
        "Draw recorded results of DGenCTR and its controls against the share of rows with labels; trains nothing.",
        "recserve.studies.label_share.command:LabelShare",
    ),
    "mending": Place(
        "Time a base, SGCTR and MATT around it in turn, profile SGCTR's graph, and draw recorded AUC against damage.",
        "recserve.studies.mending.command:Mending",
    ),
    "recall-curves": Place(
        "Draw recorded Recall@N of CROLoss's losses and of two towers by N, over the softmax's; trains nothing.",
        "recserve.studies.recall_curves.command:RecallCurves",
    ),
    "code-overlap": Place(
        "Draw how much of BBQRec's attention goes to items that share codes, and what its tables add.",
        "recserve.studies.code_overlap.command:CodeOverlap",
    ),
    "codebooks": Place(
        "Show how runs of tokenizers use their codebooks, beside LETTER's published ids where the data set is beauty.",
        "recserve.studies.codebooks.command:Codebooks",
    ),
    "corp": Place(
        "Measure pruned share, hit rate and latency of a reg4rec run against theta, and draw them.",
        "recserve.studies.corp.command:Corp",
    ),
    "decoding": Place(
        "Time one request of REG4Rec: the served graph, and beam search around a graph of one step.",
        "recserve.studies.decoding.command:Decoding",
    ),
    "gsvr-cells": Place(
        "Show the deviation of GSVR's cells by their training samples, and draw it.",
        "recserve.studies.scenarios.cells:GsvrCells",
    ),
    "sfpnet-scenes": Place(
        "Show how far SFPNet moves each of a user's behaviours in two scenarios, and draw it.",
        "recserve.studies.scenarios.scenes:SfpnetScenes",
    ),
    "sfpnet-planted": Place(
        "Train SFPNet, its controls and DIN where the scenario decides which half of the history counts, and draw it.",
        "recserve.studies.scenarios.halves:SfpnetPlanted",
    ),
    "sdiff-snr": Place(
        "Show what noise leaves of the signal in bands of frequencies, beside isotropic noise of equal energy.",
        "recserve.studies.spectrum.command:SdiffSnr",
    ),
    "sfpnet-cost": Place(
        "Time SFPNet's two graphs and one graph of the same module in turn, CPU time of one request in this process.",
        "recserve.studies.scenarios.cost:SfpnetCost",
    ),
    "sparse-scenario": Place(
        "Train GSVR, its controls and its backbone with a share of one scenario's samples; test on all of them.",
        "recserve.studies.scenarios.sparse:SparseScenario",
    ),
    "tracing-cost": Place(
        "Time step and ask of tracing models, and the question by all answers, after short and long histories.",
        "recserve.studies.tracing_cost.command:TracingCost",
    ),
    "graphs": Place(
        "Profile the graphs of a repository, one request each: nodes, share of products, distance to the floor.",
        "recserve.studies.graphs.command:Graphs",
    ),
    "heterrec-depth": Place(
        "Draw recorded results of HeterRec and of its stack over items against their blocks; trains nothing.",
        "recserve.studies.depth.command:Depth",
    ),
    "stored-tables": Place(
        "Measure finished click runs with tables in float32, float16 and int8, their graphs' bytes, and look-ups in "
        "turn.",
        "recserve.studies.stored_tables.command:StoredTables",
    ),
    "tracing-calibration": Place(
        "Draw from recorded results of tracing models how often students were right by what was predicted.",
        "recserve.studies.tracing_calibration.command:TracingCalibration",
    ),
    "tracing-load": Place(
        "Time reports and questions of many students at once, by their number of answers, beside sending all of those.",
        "recserve.studies.tracing_load.command:TracingLoad",
    ),
    "sanity": Place(
        "Train DeepFM on random parts of MovieLens-100k and compare its AUC with three public libraries'.",
        "recserve.studies.sanity:Sanity",
    ),
    "sanity-sequences": Place(
        "Show recorded results of sequence models beside published ones; trains nothing.",
        "recserve.studies.sanity_sequences:SanitySequences",
    ),
}
