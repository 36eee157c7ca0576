// a browser starts no worker for a page from a disk, so there is no search
if (location.protocol === "file:") {
  for (const part of document.querySelectorAll(".md-search, [for=__search]")) part.hidden = true;
}
