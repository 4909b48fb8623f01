"""PixelRNN, the Row LSTM and the Diagonal BiLSTM, for pixelzoo."""
