"""Documents of many vectors (late interaction): how their token matrices are held."""
