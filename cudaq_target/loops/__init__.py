"""Four complete loops: a molecule, a graph, a drift, a memory."""
