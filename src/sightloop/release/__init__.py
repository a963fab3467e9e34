"""What a release is: identity, manifest, digest, signature, bundle, verdict."""
