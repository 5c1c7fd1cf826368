"""Payment providers, played: each keeps books, signs and encrypts as the real one, and checks what it is sent."""
