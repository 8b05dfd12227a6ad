"""One process of the website: the page, the API, and the thread that draws."""
