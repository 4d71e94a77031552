"""In-memory indexes over payload keys, built when a key is first used and kept current by the writer."""
