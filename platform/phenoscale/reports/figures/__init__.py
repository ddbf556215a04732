"""Every drawing of the report: numbers in, inline SVG or an interactive plot out."""
