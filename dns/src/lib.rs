//! A small DNS server (room reserved).
