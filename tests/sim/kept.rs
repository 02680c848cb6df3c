//! Seeds that once failed, kept for ever, each with what it showed.
