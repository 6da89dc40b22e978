"""One file or folder per study of `recserve study`: an experiment that draws one paper's picture."""
