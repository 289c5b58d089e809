"""The routes of other servers, for clients that exist already: each file has the shapes of one family."""
