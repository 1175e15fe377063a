"""Anyone's own data, as ``opencodi data prepare`` stores it: no concepts, styles or names are needed."""
