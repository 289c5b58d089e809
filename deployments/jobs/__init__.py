"""Jobs: files whose rows are scored in the background, in the shapes of OpenAI's Files and Batches."""
