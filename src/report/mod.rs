//! What people read: the report, made from the journal alone, and the live display.
