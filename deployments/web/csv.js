// CSV as RFC 4180 has it, in UTF-8 with a byte order mark, without which spreadsheets take it for another encoding.

/** Rows of texts and numbers as CSV. */
export function csvOf(rows) {
  return `\ufeff${rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("")}`;
}

/**
 * A cell, in quotation marks where it needs them. A spreadsheet would run a text that begins like a formula, so that
 * gets an apostrophe before it (OWASP, "CSV Injection").
 */
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : `${value}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
