# The image of every Airflow component in the production shape.
FROM apache/airflow:3.3.2-python3.11

COPY requirements.txt /tmp/requirements.txt
# Bytecode in the image: without it every component starts two seconds later.
RUN pip install --no-cache-dir --compile -r /tmp/requirements.txt

WORKDIR /opt/assetflow
COPY --chown=airflow:0 config config
COPY --chown=airflow:0 dags dags
COPY --chown=airflow:0 include include
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 presets presets
ENV PYTHONPATH=/opt/assetflow:/opt/assetflow/config \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/assetflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/assetflow/plugins
