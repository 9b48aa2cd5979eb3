// What the page asks of the server that it came from.

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
