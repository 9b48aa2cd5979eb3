# The service as an image. docs/deployment.md says how to run it.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1

# Files that this user makes are events, in a folder that a volume can take the place of. The number
# is for platforms that want to see that it is not root's.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin okta-hooks \
    && install -d -o okta-hooks -g okta-hooks -m 700 /var/lib/okta-hooks
ENV EVENTS_DATABASE_URL=sqlite:////var/lib/okta-hooks/events.sqlite

WORKDIR /opt/okta-hooks
# The packages are a layer of their own, which a change of the code leaves as it is. For Twilio add
# requirements/twilio.txt in both lines.
COPY requirements.txt constraints.txt ./
COPY requirements/postgresql.txt requirements/
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    -r requirements.txt -r requirements/postgresql.txt -c constraints.txt

COPY . .
# A clone may have been made with files that only its owner can read.
RUN chmod -R a+rX .

USER 10001
# gunicorn listens on all addresses of the container, at this port.
ENV PORT=8000
EXPOSE 8000
# In this form gunicorn is the first process, and gets the TERM that stops the container.
CMD ["gunicorn"]
