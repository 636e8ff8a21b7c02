"""What users call: bundles, the engine, backends. Knows ids and latent vectors; music only through the codec."""
