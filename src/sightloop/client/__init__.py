"""What users and Sightloop's own processes call to talk to a server."""
