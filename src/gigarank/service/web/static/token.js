// The link of a letter carries its token behind the #, which is sent to no server: the form does that.
const token = location.hash.slice(1);
const field = document.getElementById("f-token");
if (token && field) {
  field.value = decodeURIComponent(token);
  field.closest(".field").hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
}
