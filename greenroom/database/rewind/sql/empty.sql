DELETE FROM ONLY {table}; {counted}
