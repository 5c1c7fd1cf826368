"""Chat platforms: what comes in from their webhooks, and what is sent to their chats."""
