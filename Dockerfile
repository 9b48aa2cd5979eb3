# The service as an image. docs/deployment.md says how to run it.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1

# The service may write only to this folder, which holds the events. Mount a volume there. Some
# platforms need a number to see that the user is not root.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin okta-hooks \
    && install -d -o okta-hooks -g okta-hooks -m 700 /var/lib/okta-hooks
ENV EVENTS_DATABASE_URL=sqlite:////var/lib/okta-hooks/events.sqlite

WORKDIR /opt/okta-hooks
# The packages come first: a change of the code reuses their layer. For Twilio, add
# requirements/twilio.txt to both instructions.
COPY requirements.txt constraints.txt ./
COPY requirements/postgresql.txt requirements/
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    -r requirements.txt -r requirements/postgresql.txt -c constraints.txt

COPY . .
# Someone with a strict umask has files that only the owner can read.
RUN chmod -R a+rX .

USER 10001
# gunicorn listens on this port, on all addresses of the container.
ENV PORT=8000
EXPOSE 8000
# Without a shell in between, gunicorn gets the TERM that stops the container.
CMD ["gunicorn"]
