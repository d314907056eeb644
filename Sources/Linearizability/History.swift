// Owns the shape of a history (to be filled).
