// Requests to the server of this page.

export async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(`/page/${path}`, options);
  if (!response.ok) throw new Error((await response.json()).error);
  return response.json();
}
