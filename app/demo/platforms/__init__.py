"""Chat platforms that run here: they sign, encrypt, answer and refuse as the real ones do."""
