"""Background work: sealing, merging, vacuuming and index builds."""
