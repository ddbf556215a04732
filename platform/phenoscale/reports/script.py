"""The page's own few lines of script: sort and filter the rows, mark the section that is being read."""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
"use strict";
(function () {
  function valueOf(cell) {
    var text = cell.textContent.trim();
    var number = parseFloat(text.replace(/,/g, ""));
    return cell.classList.contains("number") ? (isNaN(number) ? -Infinity : number) : text.toLowerCase();
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var body = table.tBodies[0];
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      head.setAttribute("tabindex", "0");
      function sort() {
        var down = head.getAttribute("aria-sort") === "ascending";
        Array.prototype.forEach.call(table.tHead.rows[0].cells, function (other) {
          other.removeAttribute("aria-sort");
        });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.prototype.slice.call(body.rows);
        rows.sort(function (a, b) {
          var x = valueOf(a.cells[column]), y = valueOf(b.cells[column]);
          return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
        });
        rows.forEach(function (row) { body.appendChild(row); });
      }
      head.addEventListener("click", sort);
      head.addEventListener("keydown", function (event) { if (event.key === "Enter") { sort(); } });
    });
  });
  document.querySelectorAll("input[data-filters]").forEach(function (input) {
    var table = document.getElementById(input.getAttribute("data-filters"));
    var count = input.parentNode.querySelector("output");
    function filter() {
      var words = input.value.toLowerCase().split(/\\s+/).filter(Boolean), shown = 0;
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        var text = row.textContent.toLowerCase();
        var fits = words.every(function (word) { return text.indexOf(word) >= 0; });
        row.style.display = fits ? "" : "none";
        shown += fits ? 1 : 0;
      });
      count.textContent = shown + " of " + table.tBodies[0].rows.length + " rows";
    }
    input.addEventListener("input", filter);
    filter();
  });
  if ("IntersectionObserver" in window) {
    var links = {};
    document.querySelectorAll("nav.toc a").forEach(function (link) { links[link.hash.slice(1)] = link; });
    var watcher = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting || !links[entry.target.id]) { return; }
        Object.keys(links).forEach(function (id) { links[id].classList.remove("here"); });
        links[entry.target.id].classList.add("here");
      });
    }, { rootMargin: "0px 0px -75% 0px" });
    document.querySelectorAll("section[id]").forEach(function (section) { watcher.observe(section); });
  }
})();
"""
