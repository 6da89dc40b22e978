"""`recserve events load|push|follow|show|drop`: what users do, on its way to a running server."""
