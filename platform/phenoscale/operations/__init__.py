"""Operations: run, plan and look after whole pipelines."""
