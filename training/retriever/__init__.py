"""A retriever that is asked by user, alone or before a ranker: what the tasks' modules become when they serve so."""
