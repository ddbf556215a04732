"""The steps that make a map, one file each: settings, fit, and the fitted value; `table` lists them."""
