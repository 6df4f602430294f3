//! Simulated hosts behind a real SSH server on loopback: the stage set on which fleetlift is shown and tested.
