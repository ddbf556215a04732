"""The sections of the report, in the order of the page: each makes one piece of HTML of the inputs."""
