"""The sections of the report, in the order of the page: each turns material into one piece of HTML."""
