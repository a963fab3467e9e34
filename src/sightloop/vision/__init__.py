"""Images, boxes, detections: the only pre- and postprocessing of the project."""
