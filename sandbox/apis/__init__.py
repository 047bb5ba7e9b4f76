"""The provider APIs, one file each; every handler turns a request into an answer and no more."""
