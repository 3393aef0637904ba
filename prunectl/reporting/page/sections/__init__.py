"""The sections of the page: each builds its figures, tables and pictures, and says what is missing."""
