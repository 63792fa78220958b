"""Train a small neural network on scikit-learn's handwritten digits: python train_digits.py [EPOCHS]"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from tensorboardX import SummaryWriter

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
lr = 0.01
hidden = 32

images, labels = load_digits(return_X_y=True)
train_x, val_x, train_y, val_y = train_test_split(images / 16, labels, test_size=0.3, random_state=0)

print(f"learning rate = {lr}, hidden units = {hidden}")
model = MLPClassifier(hidden_layer_sizes=(hidden,), learning_rate_init=lr, solver="adam", batch_size=64, random_state=0)
writer = SummaryWriter("runs")
for epoch in range(epochs):
    order = np.random.default_rng(epoch).permutation(len(train_x))
    model.partial_fit(train_x[order], train_y[order], classes=range(10))
    val_loss = log_loss(val_y, model.predict_proba(val_x), labels=range(10))
    accuracy = model.score(val_x, val_y)
    writer.add_scalar("val_loss", val_loss, epoch)
    writer.add_scalar("val_accuracy", accuracy, epoch)
    print(f"epoch {epoch + 1}: val_loss {val_loss:.4f}, accuracy {accuracy:.4f}")
writer.close()
print(f"fitness: {-val_loss}")
