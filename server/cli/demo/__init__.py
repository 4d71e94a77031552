"""`nearfield demo`: a server, a collection of real texts made on the spot, and three searches."""
