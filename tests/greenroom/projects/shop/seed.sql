INSERT INTO countries (code, name) VALUES ('CH', 'Switzerland'), ('DK', 'Denmark'), ('PT', 'Portugal');
