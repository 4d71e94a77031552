"""From resolved vector queries over pinned segments to ranked rows: plan, scan or traverse, merge."""
