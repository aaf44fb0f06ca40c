/* A table that scrolls can be scrolled with the keyboard, and has a name. */
addEventListener("DOMContentLoaded", () => {
  for (const wrapper of document.querySelectorAll(".table-wrapper")) {
    const section = wrapper.closest("section");
    const heading = section && section.querySelector("h1, h2, h3");
    wrapper.tabIndex = 0;
    wrapper.setAttribute("role", "region");
    wrapper.setAttribute("aria-label", heading ? `Table: ${heading.firstChild.textContent}` : "Table");
    /* A name that has no room on one line is broken after an underscore. */
    for (const name of wrapper.querySelectorAll("code .pre")) {
      if (!name.children.length) name.innerHTML = name.innerHTML.replaceAll("_", "_<wbr>");
    }
  }
});
