"""Programs that train, search, measure and draw with `bopt`."""
