"""What a person looks at in a browser: rows of the record in, Streamlit pages out."""
