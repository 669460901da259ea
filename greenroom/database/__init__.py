"""The databases of a run: built once as a template, cloned for each worker, rewound after each test."""
