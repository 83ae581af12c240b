"""The command line `fleetfit`: suites from ONNX files, and the predictor from measurements.

It works on files alone and knows no cluster. A command's module is imported when the command is chosen, and what is
heavy (onnx, onnxruntime, lightgbm) when it runs, so that help is instant and a missing extra concerns one command.
"""
