"""Results drawn and handed out."""
