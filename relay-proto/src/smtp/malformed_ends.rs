//! For tests, those of other crates included: what must not end the content after DATA.

/// Sequences that some server takes for the end of content, has taken once, or might take. The one that is (RFC 5321, section
/// 4.1.1.4) is not among them, but its escape is.
pub const MALFORMED_ENDS: [&str; 19] = [
    "\n.\n",
    "\n.\r\n",
    "\n.\r",
    "\r.\n",
    "\r.\r\n",
    "\r.\r",
    "\r\n.\n",
    "\r\n.\r",
    "\n\n.\n\n",
    "\n\r.\r\n",
    "\r\n.\n\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\0\r\n.\0\n",
    "\r\n. \r\n",
    "\r\n.\t\r\n",
    "\r\n..\r\n",
];
